// The flagship call with AWS's JavaScript SDK: prints the answer's status and output.
import { SFNClient, StartSyncExecutionCommand } from "@aws-sdk/client-sfn";

const client = new SFNClient({ disableHostPrefix: true });
const answer = await client.send(
  new StartSyncExecutionCommand({ stateMachineArn: process.argv[2], input: process.argv[3] }),
);
console.log(JSON.stringify({ status: answer.status, output: JSON.parse(answer.output) }));

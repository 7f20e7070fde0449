// A program that uses undici's proxy agent: prints what a URL answers.
import { EnvHttpProxyAgent, fetch, setGlobalDispatcher } from "undici";

setGlobalDispatcher(new EnvHttpProxyAgent());
const answer = await fetch(process.argv[2], { method: "POST", body: process.argv[3] });
console.log(JSON.stringify({ status: answer.status, body: await answer.text() }));

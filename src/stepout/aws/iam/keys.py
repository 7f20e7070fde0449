"""Condition keys that are known here: the global ones and those of the services that we serve.

Sources: IAM user guide, "AWS global condition context keys"; service authorization reference, "AWS
Step Functions" and "AWS Security Token Service".
"""

from __future__ import annotations

from typing import Final

from stepout.aws.iam.spelling import nearest

__all__ = ["is_unknown", "meant"]

_KNOWN: Final = (
    *("aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:CurrentTime"),
    *("aws:Ec2InstanceSourcePrivateIPv4", "aws:Ec2InstanceSourceVpc", "aws:EpochTime"),
    *("aws:FederatedProvider", "aws:IsMcpServiceAction", "aws:MultiFactorAuthAge"),
    *("aws:MultiFactorAuthPresent", "aws:PrincipalAccount", "aws:PrincipalArn"),
    *("aws:PrincipalIsAWSService", "aws:PrincipalOrgID", "aws:PrincipalOrgPaths"),
    *("aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:PrincipalType"),
    *("aws:Referer", "aws:RequestedRegion", "aws:ResourceAccount", "aws:ResourceOrgID"),
    *("aws:ResourceOrgPaths", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"),
    *("aws:SourceIdentity", "aws:SourceIp", "aws:SourceOrgID", "aws:SourceOrgPaths"),
    *("aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:TagKeys"),
    *("aws:TokenIssueTime", "aws:UserAgent", "aws:userid", "aws:username", "aws:ViaAWSService"),
    *("aws:ViaAWSMCPService", "aws:CalledViaAWSMCP", "aws:ChatbotSourceArn"),
    *("aws:VpceAccount", "aws:VpceOrgID", "aws:VpceOrgPaths", "aws:VpcSourceIp"),
    *("aws:AssumedRoot", "aws:PrincipalTag/", "aws:RequestTag/", "aws:ResourceTag/"),
    *("states:HTTPEndpoint", "states:HTTPMethod", "states:StateMachineQualifier"),
    *("sts:AWSServiceName", "sts:DurationSeconds", "sts:ExternalId"),
    *("sts:RequestContext/", "sts:RequestContextProviders", "sts:RoleSessionName"),
    *("sts:SourceIdentity", "sts:TaskPolicyArn", "sts:TransitiveTagKeys"),
)
"""One that ends in a slash is followed by a key of a tag."""

_FOLDED: Final = frozenset(key.lower() for key in _KNOWN)
_PREFIXES: Final = frozenset(key.partition(":")[0] for key in _KNOWN)


def is_unknown(key: str) -> bool:
    """Whether a key has a prefix whose keys are known, and is none of them."""
    folded = key.lower()
    stem, slash, _ = folded.partition("/")
    return folded.partition(":")[0] in _PREFIXES and stem + slash not in _FOLDED


def meant(key: str) -> str | None:
    """The known key that a key may have been meant to be."""
    stem, slash, rest = key.partition("/")
    found = nearest(stem + slash, _KNOWN)
    return found + rest if found and found.endswith("/") else found

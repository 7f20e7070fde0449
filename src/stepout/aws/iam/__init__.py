"""IAM's policy language: what a policy says, and what follows from several of them."""

from stepout.aws.iam.decision import Decision, Source
from stepout.aws.iam.document import Policy, Statement
from stepout.aws.iam.evaluation import Grants, decide_trust
from stepout.aws.iam.kind import Kind
from stepout.aws.iam.lint import Finding, closed_host, warnings
from stepout.aws.iam.misses import Miss, misses
from stepout.aws.iam.request import Principal, Request

__all__ = [
    "Decision",
    "Finding",
    "Grants",
    "Kind",
    "Miss",
    "Policy",
    "Principal",
    "Request",
    "Source",
    "Statement",
    "closed_host",
    "decide_trust",
    "misses",
    "warnings",
]

"""The AWS JSON door: operations of Step Functions and EventBridge connections."""

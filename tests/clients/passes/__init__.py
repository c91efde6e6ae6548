"""One module per client (boto3 has several); each adds its pass to PASSES, in the order in which they run."""

"""Apply a model to stacks of any size, shard by shard."""

"""The pure core: values, rules and the state machine; it needs attrs and nothing else."""

"""Training: credit, objectives, the learner, warm start, and the loop that runs them beside the rollouts."""

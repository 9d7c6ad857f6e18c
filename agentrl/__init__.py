"""AgentRL: asynchronous reinforcement learning of multi-turn language-model agents."""

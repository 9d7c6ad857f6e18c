"""Environment families. Each is a package of its own, found by name through `agentrl.load`."""

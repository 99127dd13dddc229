"""Inter-operator parallelism: stages of groups of layers that run at once on shares of a CPU's cores."""

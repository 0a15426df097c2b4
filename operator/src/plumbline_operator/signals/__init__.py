"""Numbers measured at the router that judge a rollout; absence is a value."""

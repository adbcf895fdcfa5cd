"""The smallest integration: two routes and a skill."""

id = "example"
name = "Example"
version = "1.0.0"

"""Posting to Slack through the server's Slack integration."""

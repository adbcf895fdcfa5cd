"""Answers messages of Myservice."""

id = "myservice"
name = "Myservice"
version = "0.1.0"

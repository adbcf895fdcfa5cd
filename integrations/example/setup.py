"""What the server shows of this integration before any of its code runs."""

SETUP = {
    "webhook": {
        "path": "/integrations/example/ingest",
        "description": "Takes a text and keeps it as a document that agents can search",
    },
}

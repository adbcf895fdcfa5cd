"""What the server shows before any of the code runs."""

SETUP = {
    "icon": "MessageSquare",
    "env_vars": [
        {"key": "MYSERVICE_TOKEN", "required": True, "secret": True, "description": "From Myservice's account page"},
        {"key": "MYSERVICE_WEBHOOK_SECRET", "required": True, "secret": True, "description": "Signs what comes in"},
        {"key": "MYSERVICE_URL", "description": "Address of the API", "default": "https://api.myservice.example"},
    ],
    "webhook": {
        "path": "/integrations/myservice/webhook",
        "description": "Receives new messages",
    },
}

"""Settings: on the integration's card, or in the environment."""

from pydantic_settings import BaseSettings


class Config(BaseSettings):
    MYSERVICE_TOKEN: str = ""
    MYSERVICE_WEBHOOK_SECRET: str = ""
    MYSERVICE_URL: str = "https://api.myservice.example"

    model_config = {"extra": "ignore"}


settings = Config()

import asyncio


class Error(Exception):
    pass


class TimeoutError(asyncio.TimeoutError):
    def __str__(self):
        return "nats: timeout"


class NoRespondersError(Error):
    def __str__(self):
        return "nats: no responders available for request"

import json

from .. import errors as nats_errors
from . import errors


class PubAck:
    def __init__(self, answer):
        self.stream, self.seq, self.duplicate = answer["stream"], answer["seq"], answer.get("duplicate")


class JetStreamContext:
    def __init__(self, client):
        self._client = client

    async def publish(self, subject, payload=b"", timeout=5, headers=None):
        try:
            message = await self._client.request(subject, payload, timeout, headers)
        except nats_errors.NoRespondersError:
            raise errors.NoStreamResponseError from None
        answer = json.loads(message.data)
        if "error" in answer:
            raise errors.APIError(**answer["error"])
        return PubAck(answer)

    async def get_last_msg(self, stream_name, subject, direct=False):
        if not direct:
            raise nats_errors.Error("this stand-in reads with direct=True only")
        message = await self._client.request(f"$JS.API.DIRECT.GET.{stream_name}.{subject}")
        status = (message.headers or {}).get("Status")
        if status == "404":
            raise errors.NotFoundError(code=404, description="message not found")
        if status is not None:
            raise errors.APIError(code=int(status))
        return message

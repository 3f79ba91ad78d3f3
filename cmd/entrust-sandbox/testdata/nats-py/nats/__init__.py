"""Takes the place of nats-py, where that is not installed, for the programs on the pages.

It has the methods that those programs call, with their errors, and speaks the protocol of NATS.
"""
import asyncio
import inspect
import json
import secrets
import urllib.parse

from . import errors, js


class Msg:
    def __init__(self, subject, data, headers):
        self.subject, self.data, self.headers = subject, data, headers


class Client:
    def __init__(self, inbox_prefix, error_cb):
        self._prefix = inbox_prefix.decode() if isinstance(inbox_prefix, bytes) else inbox_prefix
        self._error_cb = error_cb
        self._callbacks, self._pongs, self._tasks = {}, [], set()

    async def _open(self, server):
        url = urllib.parse.urlsplit(server)
        self._reader, self._writer = await asyncio.open_connection(url.hostname, url.port or 4222)
        await self._reader.readline()  # INFO
        self._send(b"CONNECT " + json.dumps({"verbose": False, "headers": True, "no_responders": True, "lang": "python"}).encode())
        self._loop = asyncio.ensure_future(self._read())
        await self.flush()

    def _send(self, line):
        self._writer.write(line + b"\r\n")

    def _start(self, awaitable):
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self):
        while line := await self._reader.readline():
            verb, *args = line.split()
            if verb in (b"MSG", b"HMSG"):
                await self._message(verb, args)
            elif verb == b"PING":
                self._send(b"PONG")
            elif verb == b"PONG":
                self._pongs.pop(0).set_result(None)
            elif verb == b"-ERR" and self._error_cb:
                await self._error_cb(errors.Error(line.decode().strip()))

    async def _message(self, verb, args):
        subject, sid, size = args[0].decode(), args[1], int(args[-1])
        body = (await self._reader.readexactly(size + 2))[:-2]
        headers = None
        if verb == b"HMSG":
            cut = int(args[-2])
            first, *lines = body[:cut].decode().split("\r\n")
            headers = dict((name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line))
            if status := first.split()[1:]:
                headers["Status"] = status[0]
            body = body[cut:]
        called = self._callbacks[sid](Msg(subject, body, headers))
        if inspect.isawaitable(called):
            self._start(called)

    async def flush(self):
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._send(b"PING")
        await pong

    async def subscribe(self, subject, cb):
        sid = str(len(self._callbacks) + 1).encode()
        self._callbacks[sid] = cb
        self._send(b"SUB %s %s" % (subject.encode(), sid))

    def _publish(self, subject, reply, data, headers):
        if not headers:
            return self._send(b"PUB %s %s %d\r\n" % (subject.encode(), reply.encode(), len(data)) + data)
        head = ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode()
        self._send(b"HPUB %s %s %d %d\r\n" % (subject.encode(), reply.encode(), len(head), len(head) + len(data)) + head + data)

    async def request(self, subject, data=b"", timeout=5, headers=None):
        answer = asyncio.get_running_loop().create_future()
        inbox = f"{self._prefix}.{secrets.token_hex(11)}"
        await self.subscribe(inbox, lambda m: answer.done() or answer.set_result(m))
        self._publish(subject, inbox, data, headers)
        try:
            message = await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            raise errors.TimeoutError from None
        if (message.headers or {}).get("Status") == "503":
            raise errors.NoRespondersError
        return message

    def jetstream(self):
        return js.JetStreamContext(self)

    async def close(self):
        self._loop.cancel()
        self._writer.close()


async def connect(servers="nats://127.0.0.1:4222", user_credentials=None, inbox_prefix="_INBOX", error_cb=None):
    if user_credentials:
        raise errors.Error("this stand-in takes no credentials")
    client = Client(inbox_prefix, error_cb)
    await client._open(servers if isinstance(servers, str) else servers[0])
    return client

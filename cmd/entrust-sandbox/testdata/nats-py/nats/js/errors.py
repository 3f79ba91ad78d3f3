from .. import errors


class Error(errors.Error):
    pass


class NoStreamResponseError(Error):
    def __str__(self):
        return "nats: no response from stream"


class APIError(Error):
    def __init__(self, code=None, err_code=None, description=None):
        super().__init__(description)
        self.code, self.err_code, self.description = code, err_code, description


class NotFoundError(APIError):
    pass

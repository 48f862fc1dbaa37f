"""ServingError: a request that fails, with the status its caller gets."""

import grpc
import tensorflow as tf

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request that fails.

    Args:
        code: The status.
        message: What was expected, what came.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @classmethod
    def of_tensorflow(cls, error: tf.errors.OpError) -> "ServingError":
        """Makes the one that corresponds to an error of a graph."""
        code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
        # Sessions put this line before what the graph says.
        message = str(error.message).removeprefix("Graph execution error:")
        return cls(code, message.strip())


def invalid_argument(message: str) -> ServingError:
    """Makes an error for a request that is wrong."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """Makes an error for something that is not there."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)

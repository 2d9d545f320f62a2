"""Reading the body of a request: bounded, never inflated, and told why where it is not whole."""

from aiohttp import web

from ingress.guard import BodyEnded
from protocol.errors import Rejected


async def read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    """Return the raw request body.

    Raises Rejected: BODY_ENCODED (415); BODY_TOO_LARGE (413), before reading where the length says so; BODY_TIMEOUT
    (408), BODY_TRUNCATED, BODY_MALFORMED.
    """
    if any(encoding != "identity" for encoding in request.headers.getall("Content-Encoding", ())):
        raise Rejected("BODY_ENCODED", "the body is compressed", "Send the bytes as they are.", status=415)
    length = request.content_length
    if length is not None and length > max_bytes:
        raise Rejected("BODY_TOO_LARGE", f"{length} bytes, at most {max_bytes}", "Send a smaller item.", status=413)
    parts: list[bytes] = []
    size = 0
    try:
        while part := await request.content.readany():
            size += len(part)
            if size > max_bytes:
                raise Rejected("BODY_TOO_LARGE", f"over {max_bytes} bytes", "Send a smaller item.", status=413)
            parts.append(part)
    except BodyEnded as ended:
        raise ended.refusal from None
    except web.RequestPayloadError as error:
        what = " ".join(str(error).split())[:200]
        raise Rejected("BODY_MALFORMED", f"the body's chunks cannot be read: {what}", "Correct the framing.") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)

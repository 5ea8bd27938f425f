"""Messages that the fast path does not read: other classes, several questions, records it does not expect. By dnspython.

Loaded when the first one comes, which on most nodes is never: it is 12 MiB of a small process.
"""

import dns.exception
import dns.message
import dns.opcode
import dns.rcode

from node_agent.network.dns import wire


def answer(packet: bytes) -> bytes:
    """A refusal that the asker can read; empty when there is nobody to answer."""
    try:
        message = dns.message.from_wire(packet, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return wire.refuse(packet, wire.FORMERR)
    if message.flags & 0x8000:
        return b""
    response = dns.message.make_response(message, recursion_available=True)
    response.set_rcode(dns.rcode.NOTIMP if message.opcode() != dns.opcode.QUERY else dns.rcode.REFUSED)
    return response.to_wire()

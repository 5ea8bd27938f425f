"""The bits that our packets and connections carry. Pure.

One field shared by packet and connection marks, at a configurable place: twelve bits with the number of the node that a connection
came in through (0: here), and the bit below them that says `ours`, which Docker's firewall is told to accept.
"""

NUMBER_BITS = 0xFFF
ROUTING_PRIORITY = 5348
"""Where our rules stand in `ip rule`: before the main table, after the local one."""
_TABLES = 0x5348_0000


def number_mask(base: int) -> int:
    return NUMBER_BITS << base & 0xFFFF_FFFF


def number_mark(base: int, number: int) -> int:
    return number << base


def ours_bit(base: int) -> int:
    return 1 << base - 1


def routing_table(number: int) -> int:
    """The table whose only route leads over the node link to that node."""
    return _TABLES | number


def routing_number(table: int) -> int:
    """The node that a routing table of ours leads to; 0 for a table that is not ours."""
    return table & NUMBER_BITS if table & ~NUMBER_BITS == _TABLES else 0

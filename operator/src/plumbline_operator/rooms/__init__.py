"""The rooms, one per kind, in the order of a model's life.

Each room's author adds one import and one entry; everything else (watches, CRDs, RBAC, reference) follows from it.
"""

from plumbline_operator.runtime.room import Room

ROOMS: tuple[Room, ...] = ()

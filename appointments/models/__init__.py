"""What is kept: facts, the constraints that hold them together, and named questions."""

from appointments.models.appointments import Appointment, Attendee
from appointments.models.batches import Batch, BatchLane
from appointments.models.bookings import Booking, BookingEvent
from appointments.models.budgets import RequestBudget
from appointments.models.cancellations import (
    Cancellation,
    CancellationEvent,
    ConcernedPerson,
    ProviderAnswer,
    ProviderCall,
    ReasonPreset,
)
from appointments.models.connections import Connection, ConnectionHealth, SyncRun
from appointments.models.feeds import CalendarFeed
from appointments.models.filters import SavedFilter
from appointments.models.staff import StaffSettings
from appointments.models.workers import WorkerPulse

__all__ = [
    "Appointment",
    "Attendee",
    "Batch",
    "BatchLane",
    "Booking",
    "BookingEvent",
    "CalendarFeed",
    "Cancellation",
    "CancellationEvent",
    "ConcernedPerson",
    "Connection",
    "ConnectionHealth",
    "ProviderAnswer",
    "ProviderCall",
    "ReasonPreset",
    "RequestBudget",
    "SavedFilter",
    "StaffSettings",
    "SyncRun",
    "WorkerPulse",
]

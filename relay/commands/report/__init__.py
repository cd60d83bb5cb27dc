"""`relay report`: payments, exceptions, stock and checks of a period, for an accountant."""

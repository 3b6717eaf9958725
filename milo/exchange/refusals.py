"""What the exchange answers when it says no: its codes and texts (layer 1).

Source: the exchange's error-code page; -4130 and -4509 are undocumented, their texts are those
that bots report.
"""

from __future__ import annotations

from milo.errors import EngineError


class ApiRefusal(EngineError):
    """An error answer: `code` and text go into the body, `status` is the HTTP status."""

    def __init__(self, code: int, text: str, *, status: int = 400, retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        """For 429 and 418: wall seconds until requests are welcome again."""


_TEXTS = {
    -1013: "Invalid message.",
    -1015: "Too many new orders.",
    -1022: "Signature for this request is not valid.",
    -1023: "Start time is greater than end time.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1120: "Invalid interval.",
    -1121: "Invalid symbol.",
    -1122: "Invalid symbol status.",
    -1125: (
        "This listenKey does not exist. Please use `POST /fapi/v1/listenKey` to recreate"
        " `listenKey`"
    ),
    -1131: "recvWindow must be less than 60000",
    -1136: "Invalid newOrderRespType.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4007: "Stop price greater than max price.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Price is higher than mark price multiplier cap.",
    -4023: "Qty not increased by step size.",
    -4024: "Price is lower than mark price multiplier floor.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4116: "ClientOrderId is duplicated.",
    -4120: (
        "Order type not supported for this endpoint. Please use the Algo Order API endpoints"
        " instead."
    ),
    -4130: (
        "An open stop or take profit order with GTE and closePosition in the direction is existing."
    ),
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4135: "Invalid activation price",
    -4137: "Quantity must be zero with closePosition equals true",
    -4138: "Reduce only must be true with closePosition equals true",
    -4141: "Symbol is closed.",
    -4161: (
        "Leverage reduction is not supported in Isolated Margin Mode with open positions."
    ),
    -4171: (
        "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."
    ),
    -4509: (
        "Time in Force (TIF) GTE can only be used with open positions. Please ensure that"
        " positions are available."
    ),
    -5021: (
        "Due to the order could not be filled immediately, the FOK order has been rejected."
        " The order will not be recorded in the order history"
    ),
    -5022: (
        "Due to the order could not be executed as maker, the Post Only order will be rejected."
        " The order will not be recorded in the order history"
    ),
}  # fmt: skip


def refusal(code: int, text: str | None = None, *, status: int = 400) -> ApiRefusal:
    """Return the answer for `code`, with its own text unless another is given."""
    return ApiRefusal(code, _TEXTS[code] if text is None else text, status=status)


def missing(name: str) -> ApiRefusal:
    """Return -1102: a mandatory parameter was not sent, or cannot be read."""
    return ApiRefusal(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def missing_either(first: str, second: str) -> ApiRefusal:
    """Return -1102 for two names of which one must be sent."""
    return ApiRefusal(
        -1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    )


def invalid(name: str) -> ApiRefusal:
    """Return -1130: a parameter's value is not allowed."""
    return ApiRefusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def unwanted(name: str) -> ApiRefusal:
    """Return -1106: a parameter was sent that the order must not have."""
    return ApiRefusal(-1106, f"Parameter '{name}' sent when not required.")


def too_precise() -> ApiRefusal:
    """Return -1111: more decimals than the symbol's precision."""
    return ApiRefusal(-1111, "Precision is over the maximum defined for this asset.")


def not_offered(what: str) -> ApiRefusal:
    """Return -4084 for what this exchange does not do (yet), in the exchange's own words."""
    return ApiRefusal(-4084, f"Method is not allowed currently. Upcoming soon. ({what})")

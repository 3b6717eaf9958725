"""What the exchange answers when it says no: its codes and texts (layer 1).

Source: the exchange's error-code page; -4130, -4509 and -4531 are undocumented, their texts are
those that bots report. Some are given by a fault only (milo.exchange.faults).
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
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1002: "You are not authorized to execute this request.",
    -1003: "Too many requests queued.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: (
        "Timeout waiting for response from backend server. Send status unknown; execution"
        " status unknown."
    ),
    -1008: (
        "Request throttled by system-level protection. Reduce-only/close-position orders"
        " are exempt. Please try again."
    ),
    -1013: "Invalid message.",
    -1015: "Too many new orders.",
    -1016: "This service is no longer available.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1023: "Start time is greater than end time.",
    -1102: "A mandatory parameter was not sent, was empty/null, or malformed.",
    -1104: "Not all sent parameters were read.",
    -1106: "A parameter was sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
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
    -1130: "Invalid data sent for a parameter.",
    -1131: "recvWindow must be less than 60000",
    -1136: "Invalid newOrderRespType.",
    -2008: "Invalid Api-Key ID.",
    -2010: "New order rejected.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2017: "API Keys are locked on this account.",
    -2018: "Balance is insufficient.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2023: "User in liquidation mode now.",
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
    -4028: "Invalid leverage.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4050: "Cross balance insufficient.",
    -4051: "Isolated balance insufficient.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4087: "User can only place reduce only order.",
    -4088: "User can not place order currently.",
    -4105: "Symbol is under position risk control, only reduce-only order is allowed.",
    -4106: "Symbol is under position risk control, buy order can only works with reduce-only.",
    -4107: "Symbol is under position risk control, sell order can only works with reduce-only.",
    -4109: "Inactive account.",
    -4116: "ClientOrderId is duplicated.",
    -4117: "Stop order is triggering.",
    -4118: "ReduceOnly Order Failed. Please check your existing position and open orders.",
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
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4142: "REJECT: take profit or stop order will be triggered immediately.",
    -4161: (
        "Leverage reduction is not supported in Isolated Margin Mode with open positions."
    ),
    -4164: "Order's notional must be no smaller than 5.0 (unless you choose reduce only).",
    -4171: (
        "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."
    ),
    -4189: "Restricted account permission: can only place reduceOnly order on the symbol.",
    -4202: "Intermediate Personal Verification is required for adjusting leverage over 20x.",
    -4400: (
        "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed,"
        " please try again later."
    ),
    -4401: (
        "Futures Trading Risk Control Rules of large position holding violated, only"
        " reduceOnly order is allowed, please reduce the position."
    ),
    -4403: (
        "Dear user, as per our Terms of Use and compliance with local regulations, the"
        " leverage can only up to 10x in your region."
    ),
    -4509: (
        "Time in Force (TIF) GTE can only be used with open positions. Please ensure that"
        " positions are available."
    ),
    -4531: "The position mode of USD-M and COIN-M is being synchronized, please try again later.",
    -5021: (
        "Due to the order could not be filled immediately, the FOK order has been rejected."
        " The order will not be recorded in the order history"
    ),
    -5022: (
        "Due to the order could not be executed as maker, the Post Only order will be rejected."
        " The order will not be recorded in the order history"
    ),
    -5027: "No need to modify the order.",
    -5028: "Timestamp for this request is outside of the ME recvWindow.",
    -5041: "No depth matches this BBO order.",
}  # fmt: skip


def refusal(code: int, text: str | None = None, *, status: int = 400) -> ApiRefusal:
    """Return the answer for `code`, with its own text unless another is given."""
    return ApiRefusal(code, _TEXTS[code] if text is None else text, status=status)


def has_text(code: int) -> bool:
    """Return whether `refusal` knows the code's own text."""
    return code in _TEXTS


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

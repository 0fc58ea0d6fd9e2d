/** Why a figure of a device is absent. */
export const NO_POWER = "No recent good reading of its power";
export const NO_ENERGY = "No energy measured today";
export const NOT_SEEN = "No message received yet";
export const NO_FIRMWARE = "Its firmware version is not reported yet";

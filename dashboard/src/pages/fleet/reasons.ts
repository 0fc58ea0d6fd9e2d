/** Why a figure of a device is absent. */
export const NO_POWER = "No recent good reading of its power";
export const NO_ENERGY = "No energy measured today";
export const NOT_SEEN = "The server has had no message from it yet";
export const NO_FIRMWARE = "It has not said what software it runs";

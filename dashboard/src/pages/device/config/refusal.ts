/** Why a change of settings was not saved. */
import { ApiError } from "../../../api/client";

export function refusalText(error: Error): string {
  if (error instanceof ApiError && error.code === "config_changed") {
    return "Not saved: the settings have been changed in the meantime. The current values are shown; save again to change them.";
  }
  return `Not saved: ${error.message}.`;
}

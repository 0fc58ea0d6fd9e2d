/** The names that the pages use for what the OpenAPI document defines. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type CreatedToken = Schemas["CreatedToken"];
export type CreateToken = Schemas["CreateToken"];
export type OpenClaim = Schemas["OpenClaim"];
export type Role = Schemas["Role"];
export type RunningSession = Schemas["RunningSession"];
export type Token = Schemas["Token"];
export type Device = Schemas["Device"];
export type DeviceChanged = Schemas["DeviceChanged"];
export type DeviceDetail = Schemas["DeviceDetail"];
export type DeviceList = Schemas["DeviceList"];
export type DeviceState = Schemas["DeviceState"];
export type Energy = Schemas["Energy"];
export type EnergyDay = Schemas["EnergyDay"];
export type CreateClaim = Schemas["CreateClaim"];
export type CreateDevice = Schemas["CreateDevice"];
export type Enrolment = Schemas["Enrolment"];
export type ErrorAnswer = Schemas["Error"];
export type EventKind = Schemas["EventKind"];
export type InverterState = Schemas["InverterState"];
export type InverterSummary = Schemas["InverterSummary"];
export type LiveSample = Schemas["LiveSample"];
export type PointValue = Schemas["PointValue"];
export type Resolution = Schemas["Resolution"];
export type Series = Schemas["Series"];
export type Session = Schemas["Session"];
export type Site = Schemas["Site"];
export type Spark = Schemas["Spark"];
export type Profile = Schemas["Profile"];
export type Trouble = Schemas["Trouble"];
export type System = Schemas["System"];
export type Updated = Schemas["Updated"];
export type UpdateDevice = Schemas["UpdateDevice"];
export type UpdateSite = Schemas["UpdateSite"];
export type Telemetry = Schemas["Telemetry"];

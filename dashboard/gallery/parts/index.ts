/** All parts of the gallery, from the smallest to whole pages. */
import type { Part } from "../part";
import { ACCESS } from "./access";
import { BASICS } from "./basics";
import { CHARTS } from "./charts";
import { DEVICE } from "./device";
import { FIGURES } from "./figures";
import { FLEET } from "./fleet";
import { FRAME } from "./frame";
import { TEMPLATES } from "./templates";

export const PARTS: Part[] = [...BASICS, ...FIGURES, ...CHARTS, ...FRAME, ...FLEET, ...DEVICE, ...ACCESS, ...TEMPLATES];

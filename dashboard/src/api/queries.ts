/** The queries of all pages, with one cache. */
import { keepPreviousData, QueryCache, QueryClient, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { ApiError, get, post } from "./client";
import { fetchSystem, now, speed } from "./clock";
import { aligned } from "./merge";
import type {
  CommandDetail,
  CommandKindList,
  CommandList,
  ConfigHistory,
  ConfigTemplate,
  ConfigTemplateList,
  Device,
  DeviceConfig,
  DeviceDetail,
  DeviceList,
  DeviceState,
  Energy,
  LeaseList,
  Profile,
  OpenClaim,
  Resolution,
  RunningSession,
  Session,
  SettingList,
  Site,
  Telemetry,
  TemplateHistory,
  TemplatePreview,
  Token,
  UpdateTemplate,
} from "./types";

const SYSTEM_EVERY_MS = 60_000;
const PAGE_LIMIT = 500;
/** Devices that one fleet page loads; a larger fleet is narrowed by the search. */
export const FLEET_MAX = 2_000;
const DETAIL_EVERY_MS = 15_000;
/** While devices have yet to follow a template. */
const FOLLOW_EVERY_MS = 2_000;
const QUARTER_MS = 15 * 60_000;

/** The cache of all pages. `onSignedOut` is called when the server no longer knows the session. */
export function createQueries(onSignedOut: () => void): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        if (error instanceof ApiError && error.status === 401) onSignedOut();
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        refetchOnWindowFocus: true,
        retry: (failures, error) => {
          const isClientFault = error instanceof ApiError && error.status >= 400 && error.status < 500;
          return !isClientFault && failures < 2;
        },
        retryDelay: (attempt) => Math.min(8_000, 800 * 2 ** attempt),
      },
    },
  });
}

export function useSession() {
  return useQuery({
    queryKey: ["session"],
    queryFn: ({ signal }) => get<Session>("/session", undefined, signal),
    staleTime: 5 * 60_000,
  });
}

export function useTokens() {
  return useQuery({
    queryKey: ["tokens"],
    queryFn: ({ signal }) => get<Token[]>("/tokens", undefined, signal),
  });
}

export function useSessions() {
  return useQuery({
    queryKey: ["sessions"],
    queryFn: ({ signal }) => get<RunningSession[]>("/sessions", undefined, signal),
  });
}

export function useClaims(enabled = true) {
  return useQuery({
    queryKey: ["claims"],
    enabled,
    queryFn: ({ signal }) => get<OpenClaim[]>("/claims", undefined, signal),
  });
}

export function useSystem() {
  return useQuery({
    queryKey: ["system"],
    queryFn: ({ signal }) => fetchSystem(signal),
    refetchInterval: SYSTEM_EVERY_MS,
  });
}

export interface Fleet {
  devices: Device[];
  /** Number of all devices, which may be more than were loaded. */
  total: number;
}

/** Filters of a list of devices. */
export interface Narrowed {
  search?: string;
  state?: DeviceState;
}

async function fetchFleet(signal: AbortSignal, narrowed: Narrowed = {}): Promise<Fleet> {
  const devices: Device[] = [];
  let cursor: string | undefined;
  let total = 0;
  do {
    const page = await get<DeviceList>("/devices", { ...narrowed, limit: PAGE_LIMIT, cursor }, signal);
    devices.push(...page.devices);
    total = page.total;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && devices.length < FLEET_MAX);
  return { devices, total };
}

/** Half a quarter hour of the server's time: the pictures of today gain a bucket every quarter. */
function sparkEveryMs(): number {
  return Math.min(60_000, Math.max(8_000, QUARTER_MS / 2 / speed()));
}

export function useFleet() {
  return useQuery({
    queryKey: ["fleet"],
    queryFn: ({ signal }) => fetchFleet(signal),
    refetchInterval: sparkEveryMs,
  });
}

/** Devices found by the server, for fleets that are not loaded completely. */
export function useFound({ search, state }: Narrowed, enabled: boolean) {
  return useQuery({
    queryKey: ["found", search, state],
    queryFn: ({ signal }) => fetchFleet(signal, { search, state }),
    refetchInterval: sparkEveryMs,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
    enabled,
  });
}

export function useSites() {
  return useQuery({
    queryKey: ["sites"],
    queryFn: ({ signal }) => get<Site[]>("/sites", undefined, signal),
    staleTime: SYSTEM_EVERY_MS,
  });
}

/** The profiles that an agent can be configured with. */
export function useProfiles() {
  return useQuery({
    queryKey: ["profiles"],
    queryFn: ({ signal }) => get<Profile[]>("/profiles", undefined, signal),
    staleTime: Infinity,
  });
}

export function useDevice(id: string) {
  return useQuery({
    queryKey: ["device", id],
    queryFn: async ({ signal }) =>
      aligned(await get<DeviceDetail>(`/devices/${encodeURIComponent(id)}`, undefined, signal)),
    refetchInterval: DETAIL_EVERY_MS,
  });
}

/** The settings that devices can be given. */
export function useSettings() {
  return useQuery({
    queryKey: ["settings"],
    queryFn: ({ signal }) => get<SettingList>("/settings", undefined, signal),
    staleTime: Infinity,
  });
}

export function useConfig(id: string) {
  return useQuery({
    queryKey: ["config", id],
    queryFn: ({ signal }) => get<DeviceConfig>(`/devices/${encodeURIComponent(id)}/config`, undefined, signal),
    refetchInterval: DETAIL_EVERY_MS,
  });
}

export function useConfigHistory(id: string) {
  return useInfiniteQuery({
    queryKey: ["config-history", id],
    queryFn: ({ signal, pageParam }) =>
      get<ConfigHistory>(`/devices/${encodeURIComponent(id)}/config/history`, { cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
}

/** The address of a template below `/api/v1`. */
export function templatePath(name: string): string {
  return `/config/templates/${encodeURIComponent(name)}`;
}

export function useTemplates() {
  return useQuery({
    queryKey: ["templates"],
    queryFn: ({ signal }) => get<ConfigTemplateList>("/config/templates", undefined, signal),
    refetchInterval: DETAIL_EVERY_MS,
  });
}

export function useTemplate(name: string) {
  return useQuery({
    queryKey: ["template", name],
    queryFn: ({ signal }) => get<ConfigTemplate>(templatePath(name), undefined, signal),
    refetchInterval: ({ state }) => (state.data?.outdated ? FOLLOW_EVERY_MS : DETAIL_EVERY_MS),
  });
}

export function useTemplateHistory(name: string) {
  return useInfiniteQuery({
    queryKey: ["template-history", name],
    queryFn: ({ signal, pageParam }) =>
      get<TemplateHistory>(`${templatePath(name)}/history`, { cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
}

/** The devices that a change of a template would change. Nothing is changed. */
export function useTemplatePreview(name: string, change: UpdateTemplate) {
  return useInfiniteQuery({
    queryKey: ["template-preview", name, change],
    queryFn: ({ pageParam }) =>
      post<TemplatePreview>(`${templatePath(name)}/preview`, change, { cursor: pageParam }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchOnWindowFocus: false,
    gcTime: 0,
  });
}

/** The kinds of commands that devices can be sent. */
export function useCommandKinds() {
  return useQuery({
    queryKey: ["command-kinds"],
    queryFn: ({ signal }) => get<CommandKindList>("/commands/kinds", undefined, signal),
    staleTime: Infinity,
  });
}

export function useCommands(device: string) {
  return useInfiniteQuery({
    queryKey: ["commands", device],
    queryFn: ({ signal, pageParam }) =>
      get<CommandList>(`/devices/${encodeURIComponent(device)}/commands`, { cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: DETAIL_EVERY_MS,
  });
}

export function useLeases(device: string) {
  return useQuery({
    queryKey: ["leases", device],
    queryFn: ({ signal }) => get<LeaseList>(`/devices/${encodeURIComponent(device)}/leases`, undefined, signal),
    refetchInterval: DETAIL_EVERY_MS,
  });
}

/** A command with its history, fetched again when its state has changed. */
export function useCommand(id: string, since: string) {
  return useQuery({
    queryKey: ["command", id, since],
    queryFn: ({ signal }) => get<CommandDetail>(`/commands/${encodeURIComponent(id)}`, undefined, signal),
    placeholderData: keepPreviousData,
  });
}

export interface TelemetryQuery {
  device: string;
  inverter: number;
  points: string[];
  resolution: Resolution;
  /** Names the range; its instants are computed when the request is made. */
  rangeKey: string;
  range: (now: number) => { from: number; to: number };
  refetchMs: number | false;
}

export function useTelemetry(query: TelemetryQuery) {
  const { device, inverter, points, resolution, rangeKey } = query;
  return useQuery({
    queryKey: ["telemetry", device, inverter, rangeKey, resolution, points.join(",")],
    queryFn: ({ signal }) => {
      const { from, to } = query.range(now());
      return get<Telemetry>(
        `/devices/${encodeURIComponent(device)}/telemetry`,
        {
          from: new Date(from).toISOString(),
          to: new Date(to).toISOString(),
          resolution,
          points: points.join(","),
          inverter,
        },
        signal,
      );
    },
    enabled: points.length > 0,
    refetchInterval: query.refetchMs,
    gcTime: 60_000,
    placeholderData: (previous, previousQuery) =>
      previousQuery?.queryKey[1] === device && previousQuery.queryKey[2] === inverter
        ? keepPreviousData(previous)
        : undefined,
  });
}

export function useEnergy(device: string, from: number, to: number) {
  return useQuery({
    queryKey: ["energy", device, from, to],
    queryFn: ({ signal }) =>
      get<Energy>(
        `/devices/${encodeURIComponent(device)}/energy`,
        { from: new Date(from).toISOString(), to: new Date(to).toISOString() },
        signal,
      ),
    refetchInterval: sparkEveryMs,
  });
}

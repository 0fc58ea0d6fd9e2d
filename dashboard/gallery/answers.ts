/**
 * The API of the gallery: answers as data, checked against the API's types. A request without an answer
 * waits for ever, which is how a part looks while it loads.
 */
import type { paths } from "../src/api/schema";

type Method = "get" | "post" | "put" | "patch" | "delete";

type Body<Operation> = Operation extends { responses: infer Responses }
  ? Responses extends { 200: { content: { "application/json": infer Json } } }
    ? Json
    : Responses extends { 201: { content: { "application/json": infer Json } } }
      ? Json
      : null
  : never;

type AnswersTo<M extends Method> = {
  [Path in keyof paths as paths[Path][M] extends { responses: unknown }
    ? Path extends `/api/v1${infer Short}`
      ? `${Uppercase<M>} ${Short}`
      : never
    : never]?: Body<paths[Path][M]> | Refusal;
};

/** By method and path below `/api/v1`, such as `GET /devices/{id}`. */
export type Answers = AnswersTo<"get"> & AnswersTo<"post"> & AnswersTo<"put"> & AnswersTo<"patch"> & AnswersTo<"delete">;

/** An error in the API's format. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly message: string,
  ) {}
}

function pattern(route: string): RegExp {
  return new RegExp(`^${route.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
}

function responseOf(answer: unknown): Response {
  if (answer instanceof Refusal) {
    const { status, code, message } = answer;
    return Response.json({ error: { code, message, request_id: "01JZ8Q4M" } }, { status });
  }
  return answer === null ? new Response(null, { status: 204 }) : Response.json(answer);
}

/** A `fetch` that knows these answers; `onAnswer` is called for each that it gives. */
export function fetchFrom(answers: Answers, onAnswer: () => void): typeof fetch {
  return async (input, init) => {
    const { pathname } = new URL(String(input), window.location.origin);
    const asked = `${init?.method ?? "GET"} ${pathname.replace("/api/v1", "")}`;
    const found = Object.entries(answers).find(([route]) => pattern(route).test(asked));
    if (!found) return new Promise<Response>(() => {});
    onAnswer();
    return responseOf(found[1]);
  };
}

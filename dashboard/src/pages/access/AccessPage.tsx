/** Tokens, the browsers signed in with them, and unused claim codes. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useEffect, useState, type ReactNode } from "react";
import { remove } from "../../api/client";
import { useClaims, useSession, useSessions, useTokens } from "../../api/queries";
import type { OpenClaim, RunningSession, Token } from "../../api/types";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Absent, Age } from "../../components/Figure";
import { Link } from "../../components/Link";
import { Problem, Skeleton } from "../../components/Problem";
import { countText } from "../../lib/format";
import { ownZone } from "../../lib/zone";
import { Expiry } from "./Expiry";
import { NewToken } from "./NewToken";
import { ROLES } from "./roles";
import styles from "./Access.module.css";

export function AccessPage() {
  const session = useSession();
  useEffect(() => {
    document.title = "Access – EcoWatt";
  }, []);
  if (session.data && session.data.role !== "owner") {
    return (
      <>
        <h1>Access</h1>
        <p className={styles.none}>
          Only an owner can see this page. You are signed in with “{session.data.token_name}”, which can only view
          devices.
        </p>
      </>
    );
  }
  return (
    <div className={styles.page}>
      <h1>Access</h1>
      <Tokens />
      <Sessions />
      <Claims />
    </div>
  );
}

interface PanelProps<T> {
  title: string;
  what: string;
  none: string;
  query: { data: T[] | undefined; isError: boolean; error: unknown; refetch: () => unknown };
  action?: ReactNode;
  children: (items: T[]) => ReactNode;
}

function Panel<T>({ title, what, none, query, action, children }: PanelProps<T>) {
  return (
    <section className={styles.panel} aria-label={title}>
      <div className={styles.head}>
        <h2>{title}</h2>
        {action}
      </div>
      <p className={styles.what}>{what}</p>
      {query.data ? (
        query.data.length === 0 ? (
          <p className={styles.none}>{none}</p>
        ) : (
          children(query.data)
        )
      ) : query.isError ? (
        <Problem what={`${title} could not be loaded.`} error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Skeleton height={96} />
      )}
    </section>
  );
}

/** Revokes something and reloads the lists that this may change. */
function useEnding() {
  const queries = useQueryClient();
  return async (path: string) => {
    await remove(path);
    await Promise.all(
      ["tokens", "sessions", "claims", "session"].map((key) => queries.invalidateQueries({ queryKey: [key] })),
    );
  };
}

function Tokens() {
  const tokens = useTokens();
  const sessions = useSessions();
  const end = useEnding();
  const [isMaking, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const running = sessions.data?.filter(({ token_id }) => token_id === revoking?.id).length ?? 0;
  return (
    <Panel
      title="Tokens"
      what="Tokens sign in browsers, the command line and other programs."
      none="No tokens."
      query={tokens}
      action={
        <Button onClick={() => setMaking(true)}>
          <Plus size={16} aria-hidden />
          New token
        </Button>
      }
    >
      {(items) => (
        <>
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Role</th>
                <th scope="col">Valid</th>
                <th scope="col">Last used</th>
                <th scope="col">Created</th>
                <th scope="col">
                  <span className="visually-hidden">Revoke</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((token) => (
                <tr key={token.id}>
                  <th scope="row">
                    {token.name}
                    {token.is_own && <span className={styles.own}>this session</span>}
                  </th>
                  <td data-label="Role" title={ROLES[token.role].means}>
                    {ROLES[token.role].word}
                  </td>
                  <td data-label="Valid">
                    <Expiry at={token.expires} />
                  </td>
                  <td data-label="Last used">
                    <Age at={token.last_used} zone={ownZone()} why="Never used" />
                  </td>
                  <td data-label="Created">
                    <Age at={token.created} zone={ownZone()} why="" />
                  </td>
                  <td className={styles.act}>
                    <Button onClick={() => setRevoking(token)} aria-label={`Revoke ${token.name}`}>
                      Revoke
                    </Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <NewToken isOpen={isMaking} onClose={() => setMaking(false)} />
          <Confirm
            title={`Revoke “${revoking?.name}”?`}
            action="Revoke"
            isOpen={revoking !== null}
            onConfirm={() => end(`/tokens/${revoking!.id}`)}
            onClose={() => setRevoking(null)}
          >
            <p>
              This token stops working. {running > 0 && `${countText(running, "session")} of it end${running === 1 ? "s" : ""} at once. `}
              This cannot be undone.
            </p>
            {revoking?.is_own && <p>You are signed in with it and will be signed out.</p>}
          </Confirm>
        </>
      )}
    </Panel>
  );
}

function Sessions() {
  const sessions = useSessions();
  const end = useEnding();
  const [isEndingAll, setEndingAll] = useState(false);
  const others = sessions.data?.filter(({ is_own }) => !is_own).length ?? 0;
  return (
    <Panel
      title="Sessions"
      what="Browsers that are signed in."
      none="No browser is signed in."
      query={sessions}
      action={
        others > 0 && (
          <Button onClick={() => setEndingAll(true)}>End all others</Button>
        )
      }
    >
      {(items) => (
        <>
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">Token</th>
                <th scope="col">Signed in</th>
                <th scope="col">Last used</th>
                <th scope="col">Valid</th>
                <th scope="col">
                  <span className="visually-hidden">End</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((session) => (
                <SessionRow key={session.id} session={session} onEnd={() => end(`/sessions/${session.id}`)} />
              ))}
            </tbody>
          </table>
          <Confirm
            title="End all other sessions?"
            action="End them"
            isOpen={isEndingAll}
            onConfirm={() => end("/sessions")}
            onClose={() => setEndingAll(false)}
          >
            <p>
              {countText(others, "browser")} must sign in again. This one stays signed in.
            </p>
          </Confirm>
        </>
      )}
    </Panel>
  );
}

function SessionRow({ session, onEnd }: { session: RunningSession; onEnd: () => Promise<unknown> }) {
  const end = useMutation({ mutationFn: onEnd });
  return (
    <tr>
      <th scope="row">
        {session.token_name}
        {session.is_own && <span className={styles.own}>this session</span>}
      </th>
      <td data-label="Signed in">
        <Age at={session.created} zone={ownZone()} why="" />
      </td>
      <td data-label="Last used">
        <Age at={session.last_used} zone={ownZone()} why="Not used since signing in" />
      </td>
      <td data-label="Valid">
        <Expiry at={session.expires} />
      </td>
      <td className={styles.act}>
        {!session.is_own && (
          <Button disabled={end.isPending} onClick={() => end.mutate()} aria-label={`End session of ${session.token_name}`}>
            {end.isError ? "Try again" : "End"}
          </Button>
        )}
      </td>
    </tr>
  );
}

function Claims() {
  const claims = useClaims();
  const end = useEnding();
  return (
    <Panel
      title="Claim codes"
      what="Unused codes. An agent that starts with one becomes that device."
      none="No unused codes."
      query={claims}
    >
      {(items) => (
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Code</th>
              <th scope="col">Device</th>
              <th scope="col">Created</th>
              <th scope="col">Valid</th>
              <th scope="col">
                <span className="visually-hidden">Revoke</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((claim) => (
              <ClaimRow key={claim.id} claim={claim} onEnd={() => end(`/claims/${claim.id}`)} />
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

function ClaimRow({ claim, onEnd }: { claim: OpenClaim; onEnd: () => Promise<unknown> }) {
  const end = useMutation({ mutationFn: onEnd });
  return (
    <tr>
      <th scope="row">
        <code>{claim.id}-…</code>
      </th>
      <td data-label="Device">
        <Link to={`/devices/${claim.device}`}>{claim.device_name || claim.device}</Link>
      </td>
      <td data-label="Created">
        <Age at={claim.created} zone={ownZone()} why="" />
      </td>
      <td data-label="Valid">{claim.expires ? <Expiry at={claim.expires} /> : <Absent why="" />}</td>
      <td className={styles.act}>
        <Button disabled={end.isPending} onClick={() => end.mutate()} aria-label={`Revoke code ${claim.id}`}>
          {end.isError ? "Try again" : "Revoke"}
        </Button>
      </td>
    </tr>
  );
}

/** Signs in with a token. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, type FormEvent } from "react";
import { signIn, signInFailure, takeLinkFailure } from "../../api/session";
import { Button } from "../../components/Button";
import { Entry } from "../../components/Entry";
import { navigate, safeNext, useParams } from "../../lib/route";
import styles from "./LoginPage.module.css";

export function LoginPage() {
  const [params] = useParams();
  const [token, setToken] = useState("");
  const [linkFailure] = useState(takeLinkFailure);
  const next = safeNext(params.get("next"));
  const queries = useQueryClient();
  const enter = useMutation({
    mutationFn: (wanted: string) => signIn(queries, wanted),
    onSuccess: () => navigate(next, { replace: true }),
  });
  useEffect(() => {
    document.title = "Sign in – EcoWatt";
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token.trim() && !enter.isPending) enter.mutate(token.trim());
  };
  const failure = enter.error ? signInFailure(enter.error) : enter.isIdle ? linkFailure : null;
  return (
    <Entry title="Sign in">
      <form className={styles.form} onSubmit={submit}>
        <label htmlFor="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="current-password"
          autoFocus
          spellCheck={false}
          value={token}
          aria-describedby="token-hint"
          aria-invalid={failure !== null}
          onChange={(event) => setToken(event.target.value)}
        />
        {failure && (
          <p className={styles.failure} role="alert">
            {failure}
          </p>
        )}
        <Button type="submit" look="main" disabled={!token.trim() || enter.isPending}>
          {enter.isPending ? "Signing in…" : "Sign in"}
        </Button>
        <p id="token-hint" className={styles.hint}>
          To create one on the server's machine, run{" "}
          <code>ecowatt token create --data DIR --role owner</code>. The browser keeps a session, not
          the token.
        </p>
      </form>
    </Entry>
  );
}

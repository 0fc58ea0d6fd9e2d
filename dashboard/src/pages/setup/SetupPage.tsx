/** Redeems the link that a server prints at its first start, and shows the owner's token once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { redeem } from "../../api/session";
import { Button } from "../../components/Button";
import { Copy } from "../../components/Copy";
import { Entry } from "../../components/Entry";
import { Link } from "../../components/Link";
import { navigate } from "../../lib/route";
import styles from "./SetupPage.module.css";

function codeInAddress(): string | null {
  return new URLSearchParams(window.location.hash.slice(1)).get("code");
}

export function SetupPage() {
  const [code] = useState(codeInAddress);
  const queries = useQueryClient();
  const setUp = useMutation({
    mutationFn: (wanted: string) => redeem(queries, wanted),
    // The code stays in the address until it is used, so that a reload loses nothing.
    onSuccess: () => window.history.replaceState(null, "", "/setup"),
  });
  useEffect(() => {
    document.title = "Set up – EcoWatt";
  }, []);

  if (setUp.data) {
    return (
      <Entry title="The server is yours">
        <div className={styles.steps}>
          {setUp.data.token ? (
            <>
              <p>
                This is the owner's token. <strong>It is shown only once.</strong> Keep it where you keep
                passwords: you need it to sign in from other browsers and on the command line.
              </p>
              <Copy label="Owner's token" text={setUp.data.token} />
              <p className={styles.hint}>
                On the command line: set <code>ECOWATT_URL</code> to{" "}
                <code>{window.location.origin}</code> and <code>ECOWATT_TOKEN</code> to the token.
                If it is lost, <code>ecowatt token create --data DIR --role owner</code> on the server
                creates another.
              </p>
            </>
          ) : (
            <p>You are signed in.</p>
          )}
          <Button look="main" onClick={() => navigate("/", { replace: true })}>
            I saved it, continue
          </Button>
        </div>
      </Entry>
    );
  }

  return (
    <Entry title="Set up this server">
      <div className={styles.steps}>
        {code ? (
          <>
            <p>
              This link works once. It makes you the owner of the server and shows you the owner's
              token.
            </p>
            {setUp.error && (
              <p className={styles.failure} role="alert">
                Not set up: {setUp.error.message}.
              </p>
            )}
            <Button look="main" disabled={setUp.isPending} onClick={() => setUp.mutate(code)}>
              {setUp.isPending ? "Setting up…" : "Become the owner"}
            </Button>
          </>
        ) : (
          <p>
            The link is not complete: it ends in <code>/setup#code=…</code>. <code>ecowatt serve</code>{" "}
            prints it at its first start.
          </p>
        )}
        <p className={styles.hint}>
          Is it set up already? <Link to="/login">Sign in</Link>
        </p>
      </div>
    </Entry>
  );
}

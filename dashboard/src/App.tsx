/** Maps addresses to pages, and frames every page. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { applyEvents } from "./api/apply";
import { follow } from "./api/live";
import { useSession, useSystem } from "./api/queries";
import { Banner } from "./components/Banner";
import { Boundary } from "./components/Boundary";
import { Header } from "./components/Header";
import { Problem } from "./components/Problem";
import { deviceIn, templateIn, usePlace } from "./lib/route";
import { useShortcuts } from "./lib/shortcuts";
import styles from "./App.module.css";
import { AccessPage } from "./pages/access/AccessPage";
import { DevicePage } from "./pages/device/DevicePage";
import { FleetPage } from "./pages/fleet/FleetPage";
import { LoginPage } from "./pages/login/LoginPage";
import { MissingPage } from "./pages/MissingPage";
import { SetupPage } from "./pages/setup/SetupPage";
import { TemplatePage } from "./pages/templates/TemplatePage";
import { TemplatesPage } from "./pages/templates/TemplatesPage";

export function App() {
  const { path } = usePlace();
  if (path === "/login") return <LoginPage />;
  if (path === "/setup") return <SetupPage />;
  return <Inside path={path} />;
}

function Inside({ path }: { path: string }) {
  const client = useQueryClient();
  const session = useSession();
  const device = deviceIn(path);
  const template = templateIn(path);
  const isSignedIn = session.data !== undefined;
  const system = useSystem();
  useShortcuts();
  useEffect(() => applyEvents(client), [client]);
  useEffect(() => {
    if (isSignedIn) follow(device);
  }, [isSignedIn, device]);

  return (
    <>
      <a className={styles.skip} href="#main">
        Skip to content
      </a>
      <Header session={session.data} />
      <Banner />
      <main id="main" tabIndex={-1} className={styles.main}>
        {!system.data ? (
          system.isError && (
            <>
              <h1 className="visually-hidden">EcoWatt</h1>
              <Problem
                what="The server does not answer."
                error={system.error}
                onRetry={() => void system.refetch()}
              />
            </>
          )
        ) : (
          <Boundary key={path}>
            {device !== null ? (
              <DevicePage key={device} id={device} />
            ) : template !== null ? (
              <TemplatePage key={template} name={template} />
            ) : path === "/templates" ? (
              <TemplatesPage />
            ) : path === "/access" ? (
              <AccessPage />
            ) : path === "/" ? (
              <FleetPage />
            ) : (
              <MissingPage />
            )}
          </Boundary>
        )}
      </main>
    </>
  );
}

/** A template: its values, what changing them would do, and its history. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { remove } from "../../api/client";
import { templatePath, useSession, useSettings, useTemplate } from "../../api/queries";
import type { ConfigTemplate } from "../../api/types";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Link } from "../../components/Link";
import { Problem, Skeleton } from "../../components/Problem";
import { navigate } from "../../lib/route";
import { TemplateForm } from "./TemplateForm";
import { TemplateHistory } from "./TemplateHistory";
import { followText, usersText } from "./words";
import styles from "./Templates.module.css";

export function TemplatePage({ name }: { name: string }) {
  const session = useSession();
  const settings = useSettings();
  const template = useTemplate(name);
  const isOwner = session.data?.role === "owner";
  useEffect(() => {
    document.title = `${name} – EcoWatt`;
  }, [name]);
  const failed = [settings, template].find(({ isError, data }) => isError && !data);
  return (
    <div className={styles.page}>
      <Link to="/templates" className={styles.back}>
        All templates
      </Link>
      <div className={styles.head}>
        <h1>{name}</h1>
        {isOwner && template.data && <Deletion template={template.data} />}
      </div>
      {failed ? (
        <Problem what="The template could not be loaded." error={failed.error} onRetry={() => void failed.refetch()} />
      ) : !settings.data || !template.data ? (
        <div role="status" aria-label="Loading the template">
          <Skeleton height={400} />
        </div>
      ) : (
        <>
          <p role="status">
            {[usersText(template.data.devices), followText(template.data.devices, template.data.outdated)].filter(Boolean).join(". ")}.
          </p>
          <section className={styles.panel} aria-label="Values">
            <h2>Values</h2>
            <TemplateForm template={template.data} settings={settings.data.settings} mayChange={isOwner} />
          </section>
          <TemplateHistory name={name} />
        </>
      )}
    </div>
  );
}

function Deletion({ template: { name, devices } }: { template: ConfigTemplate }) {
  const queries = useQueryClient();
  const [isAsking, setAsking] = useState(false);
  const end = async () => {
    await remove(templatePath(name));
    navigate("/templates");
    await queries.invalidateQueries({ queryKey: ["templates"] });
  };
  return (
    <>
      <Button
        disabled={devices > 0}
        title={devices > 0 ? "A template that devices use cannot be deleted" : undefined}
        onClick={() => setAsking(true)}
      >
        Delete
      </Button>
      <Confirm title="Delete the template" action="Delete" isOpen={isAsking} onConfirm={end} onClose={() => setAsking(false)}>
        <p>
          Template <strong>{name}</strong> and its history are deleted. No device uses it.
        </p>
      </Confirm>
    </>
  );
}

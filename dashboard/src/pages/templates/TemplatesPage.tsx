/** All templates of settings: who uses them, and who changed them last. */
import { Plus } from "lucide-react";
import { useEffect, useState } from "react";
import { useSession, useTemplates } from "../../api/queries";
import type { ConfigTemplate } from "../../api/types";
import { Button } from "../../components/Button";
import { Age } from "../../components/Figure";
import { Link } from "../../components/Link";
import { Problem, Skeleton } from "../../components/Problem";
import { ownZone } from "../../lib/zone";
import { NewTemplate } from "./NewTemplate";
import { followText, usersText } from "./words";
import styles from "./Templates.module.css";

export function TemplatesPage() {
  const session = useSession();
  const templates = useTemplates();
  const [isMaking, setMaking] = useState(false);
  const isOwner = session.data?.role === "owner";
  useEffect(() => {
    document.title = "Templates – EcoWatt";
  }, []);
  const found = templates.data?.templates;
  return (
    <div className={styles.page}>
      <div className={styles.head}>
        <h1>Templates</h1>
        {isOwner && (
          <Button onClick={() => setMaking(true)}>
            <Plus size={16} aria-hidden />
            New template
          </Button>
        )}
      </div>
      <p className={styles.quiet}>A template has settings that many devices share. A value that is set for a device itself counts first.</p>
      {!found ? (
        templates.isError ? (
          <Problem what="The templates could not be loaded." error={templates.error} onRetry={() => void templates.refetch()} />
        ) : (
          <div role="status" aria-label="Loading the templates">
            <Skeleton height={160} />
          </div>
        )
      ) : found.length === 0 ? (
        <p className={styles.panel}>
          There is no template yet.{" "}
          {isOwner ? "Create one, then choose it on the Configuration tab of a device." : "An owner can create one."}
        </p>
      ) : (
        <ul className={styles.list} aria-label="All templates">
          {found.map((template) => (
            <Item key={template.name} template={template} />
          ))}
        </ul>
      )}
      <NewTemplate isOpen={isMaking} onClose={() => setMaking(false)} />
    </div>
  );
}

function Item({ template }: { template: ConfigTemplate }) {
  const { name, devices, outdated, changed, by } = template;
  return (
    <li className={styles.item}>
      <Link to={`/templates/${encodeURIComponent(name)}`} className={styles.name}>
        {name}
      </Link>
      <span>{usersText(devices)}</span>
      <span>{followText(devices, outdated)}</span>
      <span className={styles.quiet}>
        Changed <Age at={changed} zone={ownZone()} why="Not known" /> by {by}
      </span>
    </li>
  );
}

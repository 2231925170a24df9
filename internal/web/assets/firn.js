// What pages do beside what the server has rendered. Without this file everything works, only not by itself.
"use strict";
(() => {
  const each = (root, selector, fn) => root.querySelectorAll(selector).forEach(fn);

  // Times of the class "ago" are told relative to now; the exact one is in the title.
  const steps = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const tell = (date) => {
    let n = (date - Date.now()) / 1000;
    if (Math.abs(n) < 45) return "just now";
    for (const [size, unit] of steps) {
      if (Math.abs(n) < size) return relative.format(Math.round(n), unit);
      n /= size;
    }
    return "";
  };
  const times = (root) => each(root, "time[datetime]", (t) => {
    const date = new Date(t.dateTime);
    if (isNaN(date)) return;
    if (!t.title) t.title = date.toLocaleString();
    if (t.classList.contains("ago")) t.textContent = tell(date);
  });

  // <button data-copy="ID" hidden> copies the text of an element.
  const copying = (root) => each(root, "button[data-copy]", (b) => {
    if (!navigator.clipboard) return;
    b.hidden = false;
    if (b.dataset.ready) return;
    b.dataset.ready = "1";
    b.addEventListener("click", async () => {
      const from = document.getElementById(b.dataset.copy);
      if (!from) return;
      const before = b.textContent;
      try {
        await navigator.clipboard.writeText(from.textContent.trim());
        b.textContent = "Copied";
      } catch {
        b.textContent = "Select and copy by hand";
      }
      setTimeout(() => { b.textContent = before; }, 2000);
    });
  });

  // <label data-filter="ID of a table" hidden><input type="search"></label> shows the rows that hold all words.
  const filter = (label) => {
    const input = label.querySelector("input");
    const table = document.getElementById(label.dataset.filter);
    if (!input || !table) return;
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    each(table, "tbody tr", (row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((w) => text.includes(w));
      if (!row.hidden) shown++;
    });
    const said = label.querySelector("[role=status]");
    if (said) said.textContent = words.length ? `${shown} shown` : "";
  };
  const filtering = (root) => each(root, "[data-filter]", (label) => {
    label.hidden = false;
    if (!label.dataset.ready) {
      label.dataset.ready = "1";
      label.addEventListener("input", () => filter(label));
    }
    filter(label);
  });

  const enhance = (root) => { times(root); copying(root); filtering(root); };

  // <section id="…" data-events="/address"> is taken anew from the server when the stream says that something has changed. What the reader has opened, typed or focused stays.
  const busy = (old) => old.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  const renew = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    each(document, "[data-events][id], [data-renew][id]", (old) => {
      const fresh = next.getElementById(old.id);
      if (!fresh || fresh.outerHTML === old.dataset.was || busy(old)) return;
      const was = fresh.outerHTML;
      const open = [...old.querySelectorAll("details[open][id]")].map((d) => d.id);
      const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
      old.replaceChildren(...fresh.childNodes);
      old.dataset.was = was;
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focused) document.getElementById(focused)?.focus();
      enhance(old);
    });
  };
  let last = 0, planned = 0;
  const soon = () => {
    if (planned || document.hidden) return;
    planned = setTimeout(async () => {
      last = Date.now();
      try { await renew(); } catch { /* the next event tries again */ }
      planned = 0;
    }, Math.max(0, 1000 - (Date.now() - last)));
  };
  // Browsers have six connections to one place for all tabs together: a tab that nobody looks at gives its own back.
  const follow = () => {
    const at = new Set();
    const streams = new Map();
    const open = () => at.forEach((address) => {
      if (streams.has(address)) return;
      const stream = new EventSource(address);
      streams.set(address, stream);
      for (const name of ["message", "task", "change"]) stream.addEventListener(name, soon);
      stream.addEventListener("end", () => { stream.close(); at.delete(address); soon(); });
    });
    const close = () => { streams.forEach((stream) => stream.close()); streams.clear(); };
    each(document, "[data-events]", (e) => at.add(e.dataset.events));
    if (!at.size) return;
    if (!document.hidden) open();
    addEventListener("pagehide", close);
    addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return close();
      open();
      soon();
    });
  };

  // A form is sent once.
  document.addEventListener("submit", (e) => {
    const form = e.target;
    if (form.method !== "post" || e.defaultPrevented) return;
    if (form.dataset.sent) { e.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  });

  enhance(document);
  setInterval(() => times(document), 30000);
  follow();
})();

"use strict";
// This script updates the open page with the events of the worker. The worker writes all
// of the text; the script inserts it, and shows when no events come.
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  if (!main || !window.EventSource) return;

  let source = null;
  let lost = null; // when the connection was lost, as a text
  let retry = 0;

  const clock = () => new Date().toISOString().slice(11, 19) + " UTC";
  // Screen readers read a status when it changes, so it changes only with its meaning.
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  // morph changes only differing nodes, so that focus, selection and scrolling stay.
  const morph = (old, now) => {
    const a = [...old.childNodes], b = [...now.childNodes];
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
      const was = a[i], is = b[i];
      if (!is) { was.remove(); continue; }
      if (!was) { old.append(is); continue; }
      if (was.nodeType !== is.nodeType || was.nodeName !== is.nodeName || was.id !== is.id) { was.replaceWith(is); continue; }
      if (was.nodeType !== Node.ELEMENT_NODE) {
        if (was.data !== is.data) was.data = is.data;
        continue;
      }
      for (const { name } of [...was.attributes]) if (!is.hasAttribute(name)) was.removeAttribute(name);
      for (const { name, value } of is.attributes) if (was.getAttribute(name) !== value) was.setAttribute(name, value);
      morph(was, is);
    }
  };

  const show = (event) => {
    lost = null;
    say("Updates are live.");
    morph(main, new DOMParser().parseFromString("<main>" + event.data + "</main>", "text/html").querySelector("main"));
  };

  const lose = () => {
    if (!lost) {
      lost = clock();
      for (const since of main.querySelectorAll(".since")) since.hidden = false;
    }
    say("The worker has not answered since " + lost + "; every figure is stale.");
    if (source && source.readyState === EventSource.CLOSED) {
      // An answer that is not a stream ends the source, for example after a sign-in has expired.
      stop();
      retry = setTimeout(start, 5000);
    }
  };

  const stop = () => {
    clearTimeout(retry);
    if (source) source.close();
    source = null;
  };

  const start = () => {
    stop();
    source = new EventSource(main.dataset.live);
    source.addEventListener("page", show);
    source.onerror = lose;
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    if (paused) {
      stop();
      say("Updates have been paused since " + clock() + ".");
    } else {
      say("Updates begin again.");
      start();
    }
  });
  say("Updates are live.");
  start();
})();

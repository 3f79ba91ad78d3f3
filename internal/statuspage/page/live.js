"use strict";
// Shows what the worker sends while the page is open. The worker writes all of the text;
// this script puts it in place, and says when none comes.
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  if (!main || !window.EventSource) return;

  let source = null;
  let lost = null; // when the connection was lost, as a text
  let retry = 0;

  const clock = () => new Date().toISOString().slice(11, 19) + " UTC";
  // A status is read out when it changes, so it changes only where its meaning does.
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  // morph changes what differs, so that focus, selection and scrolling stay.
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
    say("The worker does not answer since " + lost + "; every figure is stale.");
    if (source && source.readyState === EventSource.CLOSED) {
      // An answer that is no stream, as after a sign-in has ended, ends the source.
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
      say("Updates are paused since " + clock() + ".");
    } else {
      say("Updates begin again.");
      start();
    }
  });
  say("Updates are live.");
  start();
})();

// The one script of this site. It asks the browser for a passkey and puts the answer into the page's own form.
// Nothing is fetched, nothing is kept. Without it, claim code and password are the way in.
"use strict";

const form = document.querySelector("form[data-passkey]");
const button = form.querySelector("button");
const failed = document.getElementById("passkey-failed");
const adding = form.dataset.passkey === "add";

if (window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON) {
  document.getElementById("passkey-absent").hidden = true;
  form.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  failed.hidden = true;
  const options = JSON.parse(form.dataset.options);
  try {
    const credential = adding
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch {
    failed.hidden = false;
    failed.focus();
    button.disabled = false;
  }
});

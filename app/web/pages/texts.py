"""Every sentence of the recipient's page, French beside English, so that neither is changed without the other.

`{organisation}`, `{contact}` and `{window}` are filled in when the page is made; any other name in braces becomes an
empty element that the page's script fills. French spacing before `: ; ? !` and inside `« »` is added by `render`.
"""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """One sentence in both languages."""

    fr: str
    en: str


TEXTS: dict[str, Text] = {
    # --- around every state
    "title": Text("Des fichiers pour vous", "Files for you"),
    "tagline": Text(
        "Transmis une fois, chiffré, puis détruit.",
        "Handed over once, encrypted, then destroyed.",
    ),
    "contact": Text("Une question ?", "Any questions?"),
    "retry": Text("Réessayer", "Try again"),
    "ask_again": Text(
        "Si vous avez encore besoin des fichiers, demandez un nouveau lien à l’expéditeur.",
        "If you still need the files, ask the sender for a new link.",
    ),
    # --- before anything is known
    "loading_title": Text("Un instant…", "One moment…"),
    "loading_text": Text(
        "Nous vérifions le lien. Si rien ne change après quelques secondes, "
        "rechargez la page avec un navigateur à jour.",
        "We are checking the link. If nothing changes within a few seconds, reload the page in an up-to-date browser.",
    ),
    "incomplete_title": Text("Le lien n’est pas entier", "The link is not complete"),
    "incomplete_text": Text(
        "Sa fin, après le signe #, manque ou a été coupée. Sans elle, rien ne peut s’ouvrir. "
        "Retournez au message que vous avez reçu et cliquez sur le lien, "
        "ou copiez-le en entier, jusqu’au dernier caractère.",
        "Its end, after the # sign, is missing or was cut off. Without it nothing can be opened. "
        "Go back to the message you received and click the link, or copy it whole, down to the last character.",
    ),
    "incomplete_safe": Text(
        "Ouvrir cette page n’a rien utilisé.",
        "Opening this page has used nothing up.",
    ),
    "sealed_title": Text("Ce transfert est scellé", "This transfer is sealed"),
    "sealed_text": Text(
        "Cette page ne sait pas encore ouvrir les transferts scellés. "
        "Utilisez le programme caducee, avec le lien entier du message que vous avez reçu :",
        "This page cannot open sealed transfers yet. "
        "Use the program caducee, with the whole link from the message you received:",
    ),
    "sealed_command": Text("caducee get 'LE LIEN ENTIER'", "caducee get 'THE WHOLE LINK'"),
    "sealed_safe": Text(
        "Il vous demandera le mot de passe. Ouvrir cette page n’a rien utilisé.",
        "It will ask you for the password. Opening this page has used nothing up.",
    ),
    # --- the password
    "ready_title": Text("Des fichiers vous attendent", "Files are waiting for you"),
    "ready_from": Text("De", "From"),
    "ready_label": Text("Objet", "Subject"),
    "ready_until": Text("Disponible jusqu’au", "Available until"),
    "ready_attempts": Text("Essais restants", "Attempts left"),
    "once_title": Text("Une seule fois", "Once only"),
    "once_text": Text(
        "Ce lien ne s’ouvre qu’une fois. Continuez seulement sur l’ordinateur où vous avez besoin des fichiers.",
        "This link opens once. Go on only at the computer where you need the files.",
    ),
    "password_label": Text("Mot de passe", "Password"),
    "password_again": Text(
        "Vous avez commencé dans cet onglet. Saisissez à nouveau le mot de passe pour reprendre.",
        "You began in this tab. Enter the password again to go on.",
    ),
    "password_hint": Text(
        "16 lettres et chiffres, reçus à part du lien, par téléphone par exemple. "
        "Majuscules, espaces et tirets sont sans importance.",
        "16 letters and digits that you were given apart from the link, by telephone for instance. "
        "Capitals, spaces and dashes do not matter.",
    ),
    "open": Text("Ouvrir les fichiers", "Open the files"),
    "opening": Text("Vérification du mot de passe…", "Checking the password…"),
    "password_empty": Text("Saisissez le mot de passe.", "Enter the password."),
    "password_length": Text(
        "Le mot de passe a 16 lettres et chiffres ; vous en avez saisi {typed}. Aucun essai n’a été compté.",
        "The password has 16 letters and digits; you entered {typed}. No attempt was counted.",
    ),
    "password_alien": Text(
        "« {character} » ne figure jamais dans un mot de passe : seulement des chiffres et des lettres sans accent, "
        "sauf U. Aucun essai n’a été compté.",
        "“{character}” is never part of a password: only digits and plain letters other than U. "
        "No attempt was counted.",
    ),
    "wrong_password_one": Text(
        "Ce mot de passe n’est pas le bon. Il reste {count} essai ; ensuite le lien sera bloqué définitivement. "
        "Faites-vous redire le mot de passe avant de réessayer.",
        "That is not the password. {count} attempt is left; after it the link is locked for good. "
        "Ask to be told the password again before you try.",
    ),
    "wrong_password_other": Text(
        "Ce mot de passe n’est pas le bon. Il reste {count} essais.",
        "That is not the password. {count} attempts are left.",
    ),
    "no_cookies": Text(
        "Ce navigateur refuse les cookies. Autorisez-les pour ce site et rechargez la page : sans eux, les fichiers ne "
        "pourraient pas être téléchargés. Rien n’a été utilisé.",
        "This browser refuses cookies. Allow them for this site and reload the page: without them the files could not "
        "be downloaded. Nothing has been used up.",
    ),
    "claim_busy": Text(
        "Le service est très sollicité. Réessayez dans un instant ; aucun essai n’a été compté.",
        "The service is busy. Try again in a moment; no attempt was counted.",
    ),
    "claim_offline": Text(
        "Aucune réponse du service. Vérifiez votre connexion et réessayez ici, dans cet onglet : rien n’est perdu.",
        "No answer from the service. Check your connection and try again here, in this tab: nothing is lost.",
    ),
    # --- the files
    "files_title": Text("Vos fichiers", "Your files"),
    "files_text": Text(
        "Téléchargez chaque fichier et vérifiez qu’il s’ouvre. Gardez cet onglet ouvert jusque-là.",
        "Download each file and check that it opens. Keep this tab open until then.",
    ),
    "files_window": Text(
        "L’accès se ferme après {window} sans téléchargement, et au plus tard le {expires}.",
        "Access closes after {window} without a download, and at the latest on {expires}.",
    ),
    "download": Text("Télécharger", "Download"),
    "downloaded": Text("Lancé", "Started"),
    "download_started": Text(
        "Téléchargement de {name} lancé : suivez-le dans votre navigateur.",
        "The download of {name} has started: follow it in your browser.",
    ),
    "files_refused": Text(
        "Ce fichier ne peut plus être téléchargé ici : le délai est passé, ou il a été envoyé trop de fois. "
        "Au besoin, demandez un nouveau lien à l’expéditeur.",
        "This file can no longer be downloaded here: the time is over, or it was sent too many times. "
        "If you need it, ask the sender for a new link.",
    ),
    "files_offline": Text(
        "Aucune réponse du service. Vérifiez votre connexion et réessayez : rien n’est perdu.",
        "No answer from the service. Check your connection and try again: nothing is lost.",
    ),
    "files_busy": Text(
        "Le service ne peut pas répondre pour le moment. Réessayez dans un instant : rien n’est perdu.",
        "The service cannot answer at the moment. Try again shortly: nothing is lost.",
    ),
    "finish": Text("J’ai tout, supprimer maintenant", "I have everything, delete now"),
    "confirm_title": Text("Avez-vous bien tout ?", "Do you have everything?"),
    "confirm_text": Text(
        "Après cela, plus aucun téléchargement n’est possible avec ce lien.",
        "After this, nothing can be downloaded with this link any more.",
    ),
    "confirm_missing_one": Text(
        "Attention : {count} fichier n’a pas été téléchargé depuis cet onglet.",
        "Mind: {count} file was not downloaded from this tab.",
    ),
    "confirm_missing_other": Text(
        "Attention : {count} fichiers n’ont pas été téléchargés depuis cet onglet.",
        "Mind: {count} files were not downloaded from this tab.",
    ),
    "confirm_yes": Text("Oui, supprimer", "Yes, delete"),
    "confirm_no": Text("Pas encore", "Not yet"),
    "deleting": Text("Suppression…", "Deleting…"),
    # --- the ends
    "done_title": Text("C’est terminé, merci", "All done, thank you"),
    "done_text": Text(
        "Ce lien n’ouvre plus rien et ses clés sont détruites. "
        "Si personne d’autre n’attend ces fichiers, le service les supprime maintenant ; "
        "sinon, au plus tard à leur échéance.",
        "This link opens nothing any more and its keys are destroyed. "
        "If nobody else is waiting for these files, the service deletes them now; "
        "otherwise when they expire at the latest.",
    ),
    "done_close": Text("Vous pouvez fermer cet onglet.", "You can close this tab."),
    "used_title": Text("Ce lien a déjà servi", "This link was used already"),
    "used_when": Text("Il a été ouvert le {when}.", "It was opened on {when}."),
    "used_text": Text(
        "Un lien ne s’ouvre qu’une fois. Si c’était vous, retournez à l’onglet où vous l’avez ouvert.",
        "A link opens once. If that was you, go back to the tab where you opened it.",
    ),
    "used_alarm": Text(
        "Si ce n’était pas vous, prévenez l’expéditeur tout de suite.",
        "If it was not you, tell the sender at once.",
    ),
    "over_title": Text("Le délai est passé", "The time is over"),
    "over_text": Text(
        "Ces fichiers ne peuvent plus être téléchargés ici : l’accès s’est refermé, "
        "ou ce navigateur en a oublié la clé.",
        "These files can no longer be downloaded here: access has closed, or this browser has forgotten its key.",
    ),
    "withdrawn_title": Text("Ce lien a été retiré", "This link was withdrawn"),
    "withdrawn_text": Text(
        "L’expéditeur a annulé ce lien. Il n’ouvre plus rien.",
        "The sender cancelled this link. It opens nothing any more.",
    ),
    "expired_title": Text("Ce lien a expiré", "This link has expired"),
    "expired_when": Text(
        "Son échéance était le {when}. Ses clés sont détruites.",
        "It was due on {when}. Its keys are destroyed.",
    ),
    "locked_title": Text("Ce lien est bloqué", "This link is locked"),
    "locked_text": Text(
        "Trop de mots de passe erronés ont été saisis : le lien est bloqué définitivement et ses clés sont détruites.",
        "Too many wrong passwords were entered: the link is locked for good and its keys are destroyed.",
    ),
    "unknown_title": Text("Ce lien n’ouvre rien", "This link opens nothing"),
    "unknown_text": Text(
        "Il est mal copié, ou trop ancien pour que nous en gardions trace. "
        "Retournez au message que vous avez reçu et copiez le lien en entier.",
        "It was miscopied, or it is too old for us to remember. "
        "Go back to the message you received and copy the link whole.",
    ),
    "busy_title": Text("Le service ne peut pas répondre", "The service cannot answer"),
    "busy_text": Text(
        "C’est passager. Réessayez dans un instant ; rien n’a été utilisé.",
        "This will pass. Try again in a moment; nothing has been used up.",
    ),
    "offline_title": Text("Pas de connexion", "No connection"),
    "offline_text": Text(
        "Le service n’a pas répondu. Vérifiez votre connexion, puis réessayez ; rien n’a été utilisé.",
        "The service did not answer. Check your connection, then try again; nothing has been used up.",
    ),
    # --- without the script
    "noscript_title": Text("Cette page a besoin de JavaScript", "This page needs JavaScript"),
    "noscript_text": Text(
        "Autorisez-le pour ce site et rechargez la page. Sinon, cette commande télécharge tout, une seule fois :",
        "Allow it for this site and reload the page. Otherwise this command downloads everything, once:",
    ),
    "noscript_id": Text(
        "ce qui se trouve dans le lien entre /s/ et #",
        "what stands between /s/ and # in the link",
    ),
    "noscript_secret": Text("ce qui suit # dans le lien", "what follows # in the link"),
    "noscript_password": Text("le mot de passe reçu à part du lien", "the password you were given apart from the link"),
    "word_id": Text("IDENTIFIANT", "ID"),
    "word_secret": Text("SECRET", "SECRET"),
    "word_password": Text("MOTDEPASSE", "PASSWORD"),
}

#!/bin/sh
# Makes the files of this directory again, with OpenSSL 3.4 or later (which PBMAC1
# needs) and its legacy provider, the JDK's keytool, and Bouncy Castle, which writes
# BER. OPENSSL and BCPROV name the command and the jar file.
set -eu
cd "$(dirname "$0")"
openssl=${OPENSSL:-openssl}
bcprov=${BCPROV:-/usr/share/java/bcprov.jar}
rm -f ./*.p12 ./*.pem ./*.key

# Names are printable strings, as Go writes them.
export OPENSSL_CONF=make.cnf
printf '[req]\ndistinguished_name = dn\nstring_mask = nombstr\n[dn]\n' >make.cnf

# issue NAME ISSUER OPTIONS: a certificate for NAME.key.
issue() {
	name=$1 issuer=$2
	shift 2
	"$openssl" req -x509 -new -key "$name.key" -CA "$issuer.pem" -CAkey "$issuer.key" -out "$name.pem" \
		-not_before 20200101000000Z -not_after 21000101000000Z "$@"
}
"$openssl" genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out root.key
"$openssl" genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sub.key
"$openssl" genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key
"$openssl" genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
"$openssl" genpkey -algorithm ED25519 -out ed25519.key
"$openssl" req -x509 -new -key root.key -out root.pem -subj /CN=root -not_before 20200101000000Z -not_after 21000101000000Z \
	-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
issue sub root -subj /CN=sub -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
# The simulator knows its clients by this name.
for kind in ec rsa ed25519; do
	issue $kind sub -subj "/O=Gateway Simulator/CN=entrust-worker" -addext basicConstraints=CA:FALSE -addext extendedKeyUsage=clientAuth
done
cat root.pem sub.pem >issuers.pem

# pack FILE KEY PASSWORD OPTIONS
pack() {
	file=$1 key=$2 password=$3
	shift 3
	"$openssl" pkcs12 -export -in "$key.pem" -inkey "$key.key" -certfile issuers.pem -out "$file.p12" -passout "pass:$password" "$@"
}
write() { file=$1; shift; pack "$file" ec secret "$@"; }

pack rsa rsa secret
pack ed25519 ed25519 secret
write default
write legacy -legacy
write 3des -descert -legacy
write 3des-sha1-mac -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1
write rc2-128 -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-128 -legacy
write certs-3des-key-aes -certpbe PBE-SHA1-3DES -keypbe AES-256-CBC
write certs-aes-key-3des -certpbe AES-256-CBC -keypbe PBE-SHA1-3DES
write aes-128 -certpbe AES-128-CBC -keypbe AES-128-CBC
write aes-192 -certpbe AES-192-CBC -keypbe AES-192-CBC
write pbes2-3des -certpbe DES-EDE3-CBC -keypbe DES-EDE3-CBC
write certs-clear -certpbe NONE
write key-clear -keypbe NONE
write clear -certpbe NONE -keypbe NONE
write clear-no-mac -certpbe NONE -keypbe NONE -nomac
write no-mac -nomac
write mac-sha1 -macalg sha1
write mac-sha224 -macalg sha224
write mac-sha384 -macalg sha384
write mac-sha512 -macalg sha512
write pbmac1 -pbmac1_pbkdf2
write pbmac1-sha512 -pbmac1_pbkdf2 -pbmac1_pbkdf2_md sha512 -macalg sha512
write one-round -noiter -nomaciter
write many-rounds -iter 20000
write friendly-names -name client -caname root -caname sub
write unicode-names -name Schlüssel -caname Wurzel
write microsoft -keyex -CSP Provider -LMK
pack empty-password ec ""
pack empty-password-3des ec "" -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES
pack unicode-password ec "pässwörd €"
pack unicode-password-3des ec "pässwörd €" -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES

# convert FILE TYPE OPTIONS
convert() {
	file=$1 type=$2
	shift 2
	keytool -importkeystore -noprompt -srckeystore default.p12 -srcstorepass secret \
		-destkeystore "$file.p12" -deststoretype "$type" -deststorepass secret "$@"
}
bouncy() { convert "$@" -destprovidername BC -providerclass org.bouncycastle.jce.provider.BouncyCastleProvider -providerpath "$bcprov"; }
convert keytool PKCS12
bouncy bouncy-castle PKCS12
bouncy bouncy-castle-aes PKCS12-AES256-AES128

# The simulator signs its own certificate with the root's key; nothing reads the others.
rm sub.key ec.key rsa.key ed25519.key issuers.pem make.cnf

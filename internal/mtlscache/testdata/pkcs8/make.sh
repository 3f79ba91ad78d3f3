#!/bin/sh
# Makes the files of this directory again: one key, encrypted in the ways of OpenSSL 3.0
# or later. The password is "pässwörd €". OPENSSL names the command.
set -eu
cd "$(dirname "$0")"
openssl=${OPENSSL:-openssl}
rm -f ./*.key ./*.pem
"$openssl" req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout plain.key -out client.pem -subj /CN=client -days 27000

# lock FILE COMMAND OPTIONS
lock() {
	file=$1
	shift
	"$openssl" "$@" -in plain.key -out "$file.key" -passout "pass:pässwörd €"
}
lock default pkcs8 -topk8
lock aes-128 pkcs8 -topk8 -v2 aes-128-cbc
lock aes-192 pkcs8 -topk8 -v2 aes-192-cbc
lock sha1 pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1
lock sha224 pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA224
lock sha384 pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA384
lock sha512 pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512
lock 3des pkcs8 -topk8 -v2 des3
lock many-rounds pkcs8 -topk8 -iter 100000
lock pkey pkey -aes256
lock scrypt pkcs8 -topk8 -scrypt
lock aria pkcs8 -topk8 -v2 aria-128-cbc
lock pkcs12-3des pkcs8 -topk8 -v1 PBE-SHA1-3DES
lock old-form pkey -traditional -aes256
rm plain.key

#!/bin/busybox sh
# What the demo's service runs: an HTTP server on port 8000 that answers with the name of its task and the address of its caller.
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/who <<'SCRIPT'
#!/bin/busybox sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "task=$TASK node=$NODE client=$REMOTE_ADDR secret=$(cat /run/secrets/greeting 2>/dev/null)"
SCRIPT
chmod +x /tmp/www/cgi-bin/who
exec busybox httpd -f -p 8000 -h /tmp/www

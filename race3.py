import sys
src=open("/tmp/chaosw/race2.py").read().replace("sys.setswitchinterval","print('cached before', '__msgspec_cache__' in MailStatus.__dict__, [a for a in MailStatus.__dict__ if 'msgspec' in a]); sys.setswitchinterval")
exec(src)
print([a for a in MailStatus.__dict__ if 'msgspec' in a])
